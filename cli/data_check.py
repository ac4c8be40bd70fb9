"""`trajflow data check`: is every byte of a store what was written?"""

from trajflow.cli.options import DataPath, Json, Loud
from trajflow.cli.streams import say, say_json


def check(data: DataPath, as_json: Json = False, loud: Loud = None) -> None:
    """Read every file of a store and compare it with its checksum.

    A damaged store names its first damaged file and the recordings it holds.
    """
    from trajflow.datasets.store import open_store

    store = open_store(data)
    store.verify()
    for scenes in store.parts(max_rows=5_000_000):
        store.tracks(scenes)
    if as_json:
        say_json({"path": str(data), "rows": store.rows, "sound": True})
    else:
        say(f"{store.path} is sound: {store.rows} rows, every file as it was written")
