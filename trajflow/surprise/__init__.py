"""How strange a past is to a trained model: scores of it, and one surprise they make together."""

from trajflow.surprise.disagreement import disagreement as disagreement
from trajflow.surprise.fitting import fit as fit
from trajflow.surprise.storage import FILE as FILE
from trajflow.surprise.storage import read_surprise as read_surprise
from trajflow.surprise.storage import stored as stored
from trajflow.surprise.strangeness import Strangeness as Strangeness
from trajflow.surprise.surprise import Origin as Origin
from trajflow.surprise.surprise import Surprise as Surprise
