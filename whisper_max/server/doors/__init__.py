"""Other servers' doors: the addresses, names and answers that their clients know, before the same engine."""
