"""A corpus of any size becomes a prepared folder by datatrove, here in processes, on a cluster by Slurm.

    python examples/datatrove_prepare.py texts/ prepared --tokenizer tokenizer.json --tasks 8
    python examples/datatrove_prepare.py texts/ prepared --tokenizer tokenizer.json --tasks 500 --slurm cpu
    clearhead train prepared

texts/ holds JSON Lines with a field "text", gzipped or not; --tokenizer is the tokenizer.json of a run, of another
prepared folder or of Hugging Face's format. All tasks must see both folders. Filters and deduplication of datatrove go
between the reader and the writer.
"""

import argparse

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor  # pyright: ignore[reportMissingImports]
from datatrove.pipeline.readers import JsonlReader  # pyright: ignore[reportMissingImports]

from clearhead.data.preparing.trove import ManifestWriter, ShardWriter


def main() -> None:
    """Write shards in many tasks, then the manifest in one."""
    parser = argparse.ArgumentParser(description="Texts to a folder that clearhead train takes, by datatrove.")
    parser.add_argument("texts")
    parser.add_argument("folder")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--workers", type=int, default=-1, help="tasks at a time (-1: all)")
    parser.add_argument("--val", type=float, default=0.1, help="share of the documents that validate")
    parser.add_argument("--dev", type=float, default=0.02, help="share of the others that decide")
    parser.add_argument("--slurm", metavar="PARTITION")
    asked = parser.parse_args()

    writer = ShardWriter(asked.folder, asked.tokenizer, val=asked.val, dev=asked.dev)
    shards, manifest = [JsonlReader(asked.texts), writer], [ManifestWriter(writer)]
    logs = f"{asked.folder}-logs"
    if asked.slurm:
        told = {"time": "20:00:00", "partition": asked.slurm}
        first = SlurmPipelineExecutor(
            shards, tasks=asked.tasks, workers=asked.workers, logging_dir=f"{logs}/shards", **told
        )
        SlurmPipelineExecutor(manifest, tasks=1, depends=first, logging_dir=f"{logs}/manifest", **told).run()
        return
    first = LocalPipelineExecutor(shards, tasks=asked.tasks, workers=asked.workers, logging_dir=f"{logs}/shards")
    LocalPipelineExecutor(manifest, tasks=1, depends=first, logging_dir=f"{logs}/manifest").run()


if __name__ == "__main__":
    main()
