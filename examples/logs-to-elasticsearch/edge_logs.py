"""The Python functions of this system, as a PyFlink program writes them: the date and the time of a log line."""

from datetime import datetime

from pyflink.table import DataTypes
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def extract_date(timestamp):
    return timestamp.split("T")[0] if timestamp else None


@udf(result_type=DataTypes.TIMESTAMP_LTZ(3))
def extract_event_time(timestamp):
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")) if timestamp else None
