"""The date extraction of examples/logs-to-elasticsearch as a PyFlink job writes it."""

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor
from pyflink.table.expressions import call, col
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def extract_date(timestamp):
    return timestamp.split("T")[0] if timestamp else None
