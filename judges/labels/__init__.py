"""Labels by people: the life of a task, and how the tasks of a queue are drawn."""
