"""Files of questions: every question is answered, on one budget, in a journal that outlives kills."""

from metascale.batches.engine import abatch, batch
from metascale.batches.questions import Asked, QuestionsError, read_questions
from metascale.batches.records import Answer, Progress

__all__ = ["Answer", "Asked", "Progress", "QuestionsError", "abatch", "batch", "read_questions"]
