"""The function of python_scalar.sql."""

from pyflink.table import DataTypes
from pyflink.table.udf import udf


@udf(result_type=DataTypes.BIGINT())
def plus_one(number):
    return number + 1
