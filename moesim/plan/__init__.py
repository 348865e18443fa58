"""From a scenario to a plan: the flat, frozen input of every engine."""
