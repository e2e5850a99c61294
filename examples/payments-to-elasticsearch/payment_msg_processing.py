"""The Python function of this system, in the words of the program it comes from, with that program's imports."""

from pyflink.datastream import StreamExecutionEnvironment, TimeCharacteristic
from pyflink.table import StreamTableEnvironment, DataTypes, EnvironmentSettings
from pyflink.table.expressions import call, col
from pyflink.table.udf import udf


branches = [f'Branch_{i}' for i in range(0, 10)]

@udf(input_types=[DataTypes.STRING()], result_type=DataTypes.STRING())
def branch_id_to_name(id):
    return branches[id]
