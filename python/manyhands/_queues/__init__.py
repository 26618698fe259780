"""Queues of threads and of processes: what `manyhands.queue` and `multiprocessing` show."""
