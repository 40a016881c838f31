"""Labels by people: what is asked (`rubrics`), of which answers (`queues`), what they said, and how far they agree."""
