"""Steps: one per stage; each reads facts, computes through its stage, asks models where it must, publishes facts."""
