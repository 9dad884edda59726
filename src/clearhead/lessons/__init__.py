"""The student's questions as a course that runs on the student's own text; one file per lesson."""
