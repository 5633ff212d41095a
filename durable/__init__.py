"""Files that outlive a crash, a full disk and a flipped bit: written whole, with checksums, under locks.

Every package may use it; it imports nothing of ours.
"""
