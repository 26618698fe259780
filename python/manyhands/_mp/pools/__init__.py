"""`multiprocessing.Pool` and `ThreadPool`, on the executors."""
