class CafxError(Exception):
    """What cafx could not do: one sentence with what was found, where, and how to mend it.

    exit_code: of the program, 2 where it refused and 70 for a bug of cafx; None where no program ran.
    """

    def __init__(self, sentence: str, exit_code=None):
        super().__init__(sentence)
        self.exit_code = exit_code
