"""Source of captions: shapes by the vowels of their category, to show the protocol and nothing else.

Used as captioner.steps=[source,examples.vowel_captions:VowelCaptions].
"""

from collections.abc import Sequence

from align3d.captioning.protocol import Caption, Offer, Subject
from align3d.hashing import hash_code


class VowelCaptions:
    """Says of each shape which vowels its category is written with."""

    name = "vowels"
    waits = False

    def fingerprint(self) -> str:
        """Hash of this file, which is all that determines the captions."""
        return hash_code("examples.vowel_captions")

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """One caption, or why there is none."""
        vowels = [letter for letter in subject.category.lower() if letter in "aeiou"]
        if not vowels:
            return Offer(problems=(f"no vowel in {subject.category!r}",))
        return Offer((Caption(f"a shape with {' and '.join(dict.fromkeys(vowels))} in its name", self.name),))
