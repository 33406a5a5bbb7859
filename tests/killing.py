"""What stands for a kill within one process, where a real one would take the tests along."""

from deepmixture.progress import Silent


class Killed(BaseException):
    """The process is gone."""


class Killer(Silent):
    """Kill the fit at one of its steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> bool:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return False
