"""Functions over whole columns, as somebody would write them for PyFlink."""

from pyflink.table import DataTypes
from pyflink.table.udf import udaf, udf


@udf(result_type=DataTypes.BIGINT(), func_type="pandas")
def add(a, b):
    return a + b


@udf(result_type=DataTypes.TIMESTAMP(3), func_type="pandas")
def midnight(at):
    return at.dt.normalize()


@udf(result_type=DataTypes.BIGINT(), func_type="pandas")
def no_sevens(a):
    if (a == 7).any():
        raise ValueError("a seven")
    return a


@udaf(result_type=DataTypes.DOUBLE(), func_type="pandas")
def mean(v):
    return v.mean()
