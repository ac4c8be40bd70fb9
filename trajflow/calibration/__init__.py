"""Regions that hold as often as they say: split conformal prediction over people."""

from trajflow.calibration.evidence import LEVELS as LEVELS
from trajflow.calibration.evidence import Evidence as Evidence
from trajflow.calibration.evidence import gather as gather
from trajflow.calibration.factors import Calibration as Calibration
from trajflow.calibration.factors import Origin as Origin
from trajflow.calibration.factors import fit as fit
from trajflow.calibration.factors import usual_spread as usual_spread
from trajflow.calibration.quantiles import person_means as person_means
from trajflow.calibration.quantiles import person_quantiles as person_quantiles
from trajflow.calibration.regions import Region as Region
from trajflow.calibration.regions import region_of as region_of
from trajflow.calibration.reliability import Reliability as Reliability
from trajflow.calibration.reliability import check as check
from trajflow.calibration.reliability import cross_check as cross_check
from trajflow.calibration.storage import FILE as FILE
from trajflow.calibration.storage import digest as digest
from trajflow.calibration.storage import read_calibration as read_calibration
from trajflow.calibration.storage import stored as stored
