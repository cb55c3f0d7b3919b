"""The digits world: images of real handwriting in which everything that is true is known."""

from vlcal.data.digits.datamodule import DigitsPrompts
from vlcal.data.digits.demonstrations import DigitsDemonstrations
from vlcal.data.digits.oracle import DigitsOracle

__all__ = ["DigitsDemonstrations", "DigitsOracle", "DigitsPrompts"]
