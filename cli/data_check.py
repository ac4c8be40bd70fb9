"""`trajflow data check`: is every byte of a store what was written?"""

from trajflow.cli.findings import show
from trajflow.cli.options import DataPath, Json, Loud


def check(data: DataPath, as_json: Json = False, loud: Loud = None) -> None:
    """Read every file of a store and compare it with its checksum.

    A damaged store names its first damaged file; the exit code is then 3.
    """
    from trajflow.datasets.doctor import check as read_all

    show(read_all(data), as_json)
