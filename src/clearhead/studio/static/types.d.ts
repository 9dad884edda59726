/** The shapes that the server sends and the views share; read by tsc alone, never by a browser. */

export interface Run {
  name: string;
  model: string;
  corpus: string | null;
  state: "starting" | "training" | "paused" | "stopped" | "done" | "patience" | "failed";
  problem: string | null;
  step: number;
  max_iters: number | null;
  val: number | null;
  bits: number | null;
  parameters: number | null;
  bytes: number | null;
  created: number | null;
  seconds: number | null;
  rate: number | null;
  left: number | null;
  memory: number | null;
  steps: number[];
  tokenizer: string | null;
  preset: string | null;
  layers: number | null;
  heads: number | null;
  block_size: number | null;
}

export interface Text {
  id: string;
  name: string;
  characters: number | null;
  bytes: number | null;
  kind: "named" | "uploaded" | "path";
  problem: string | null;
}

export interface State {
  version: string;
  out: string;
  texts: Text[];
  defaults: { time: number; [name: string]: any };
  presets: string[];
  models: string[];
  encodings: string[];
}

export interface Evaluation { step: number; train: number; val: number | null; dev: number | null; best: boolean; seconds: number }
export interface Certificate { step: number; gap: number; leak: number; misfit: number; floor: number; difference: number }

export interface Curves {
  steps: number[];
  loss: (number | null)[];
  lr: (number | null)[];
  grad_norm: (number | null)[];
  seconds: (number | null)[];
  tokens_per_step: number;
  characters_per_token: number;
  evaluations: Evaluation[];
  certificates: Certificate[];
  samples: { step: number; text: string }[];
  rungs: { [name: string]: number };
  notices: { step: number; message: string }[];
  cursor: number;
}

export interface Scored { text: string; bits: number | null; bigram_bits: number | null; top: [string, number][] }

/** A plotly figure as Python made it. */
export interface Figure { data: any[]; layout: any }

export interface Address { run: string | null; view: string; params: URLSearchParams }

/** What changes in the address; a parameter that is null or "" goes. */
export type Changes = { run?: string | null; view?: string; [parameter: string]: any };

export interface Shell {
  state: State;
  runs: Run[];
  api: typeof import("./lib/api.js");
  /** Another address. quiet: it is only noted, the view stays as it is. fresh: parameters that are not named go. */
  go(changes: Changes, how?: { quiet?: boolean; fresh?: boolean }): void;
  /** The link to an address. */
  link(changes: Changes): string;
  /** The run of this name, or of the address. */
  run(name?: string | null): Run | undefined;
  /** Curves of this run from `cursor` on reach the view's `update("curves", ...)`. */
  subscribe(run: string | null, cursor?: number): void;
  /** Read the runs and texts again. */
  refresh(): Promise<void>;
}

export interface Shown { update?(kind: "runs" | "curves", data: any): void; close?(): void }

export interface View {
  name: string;
  title: string;
  about: string[];
  docs: string;
}

/** Shows a view in its section. */
export type Show = (root: HTMLElement, address: Address, shell: Shell) => Promise<Shown | void>;

/** Of an element: handlers are `onclick` and the like. */
export interface Attributes { [handler: `on${string}`]: ((event: any) => any) | null | undefined; [name: string]: unknown }

export interface Rung { name: string; bits_per_char: number; nats_per_token: number; parameters: number; context: number; note: string; run: string | null }

/** What a rung pays for each of the tokens. */
export interface Costs { name: string; over: string | null; nats: number[] }

export interface Gains { before: string; tokens: string[]; rungs: Costs[] }

declare global {
  interface Window { Plotly: any }
}

export interface Lettering { fill?: string; size?: number; align?: "left" | "center" | "right"; mono?: boolean; bold?: boolean; turn?: boolean }

/** One way to draw, on a canvas or into SVG; x and y of a text are its middle. */
export interface Pen {
  rect(x: number, y: number, w: number, h: number, fill: string, stroke?: string): void;
  line(x1: number, y1: number, x2: number, y2: number, stroke: string, width?: number, alpha?: number): void;
  dot(x: number, y: number, r: number, fill: string, stroke?: string): void;
  text(words: string, x: number, y: number, how?: Lettering): void;
  image(image: HTMLCanvasElement, x: number, y: number, w: number, h: number): void;
}

/** A picture of our own; Hit is what can be pointed at in it. */
export interface Sketch<Hit> {
  /** Of its files. */
  name: string;
  /** For those who cannot see it. */
  label: string;
  height(width: number): number;
  draw(pen: Pen, width: number): void;
  /** What lies at a point. */
  find(x: number, y: number, width: number): Hit | null;
  /** What is lit, on a canvas of its own. */
  light(pen: Pen, hit: Hit, width: number): void;
  /** In a line. */
  tell(hit: Hit): string;
  /** By the arrow keys. */
  move(hit: Hit | null, dx: number, dy: number): Hit;
  pick?(hit: Hit): void;
  hover?(hit: Hit | null): void;
  data(): any;
}

/** An array as it lies in memory, row by row. */
export type Numbers = Float32Array & { shape: number[] };
