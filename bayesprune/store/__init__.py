"""What lies on disk: run folders, checkpoints and tensors; every file is written whole or not at all.

`atomic` writes and reads files with typed errors, `identity` names a run by its settings, `runs` holds the
run folder, `tensors` and `tree` put tensors and whole states into safetensors files. Import from these
modules: the first three do not load torch, so that a command line that only looks at runs stays quick.
"""
