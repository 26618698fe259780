"""The exceptions of manyhands, by what raises them: pools, tasks, shared objects, queues."""
