"""Many cells: a study is planned as a graph of hashed cells, and any number of workers finish it.

`plan` expands a study, `kinds` say how a cell is computed, `state` and `lease` keep everything that
is known of it in the result store's folder, `worker` computes what is ready, and `engines` start
workers on one machine, on Ray, or on SLURM. No engine holds any state.
"""
