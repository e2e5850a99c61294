"""Functions of the data files in this folder, as somebody would write them for PyFlink."""

import datetime
import decimal

from pyflink.common import Row
from pyflink.table import AggregateFunction, DataTypes, ScalarFunction, TableFunction
from pyflink.table.udf import udaf, udf, udtf


@udf(input_types=[DataTypes.BIGINT()], result_type=DataTypes.BIGINT())
def add_one(number):
    return None if number is None else number + 1


@udf(result_type="STRING")
def describe(*values):
    return ", ".join(f"{type(value).__name__} {value!r}" for value in values)


@udf(result_type=DataTypes.DECIMAL(10, 2))
def half(amount):
    return amount / 2


@udf(result_type=DataTypes.TIMESTAMP(3))
def next_day(at):
    return at + datetime.timedelta(days=1)


@udf(result_type=DataTypes.TIMESTAMP_LTZ(3))
def instant(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


@udf(result_type=DataTypes.ROW([DataTypes.FIELD("city", DataTypes.STRING()), DataTypes.FIELD("zip", DataTypes.INT())]))
def place(text):
    city, _, code = text.partition(" ")
    return Row(city, int(code))


@udf(result_type=DataTypes.MAP(DataTypes.STRING(), DataTypes.INT()))
def letters(text):
    return {letter: text.count(letter) for letter in text}


@udf(result_type=DataTypes.ARRAY(DataTypes.STRING()))
def words(text):
    return text.split()


@udf(result_type=DataTypes.BYTES())
def reverse(data):
    return data[::-1]


@udf(result_type=DataTypes.INT())
def strict(number):
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return number


@udf(result_type=DataTypes.INT())
def mistyped(number):
    return str(number) if number == 2 else number


class Prefix(ScalarFunction):
    """Its prefix is made in `open`."""

    def open(self, function_context):
        self.prefix = "opened:"

    def eval(self, text):
        return self.prefix + text


prefix = udf(Prefix(), result_type=DataTypes.STRING())


@udtf(result_types=[DataTypes.STRING(), DataTypes.INT()])
def split_words(text):
    for word in text.split():
        yield word, len(word)


class Repeat(TableFunction):
    """Gives a text some number of times."""

    def eval(self, text, count):
        for _ in range(count):
            yield text


repeat = udtf(Repeat(), result_types=[DataTypes.STRING()])


class WeightedAverage(AggregateFunction):
    """The average of values by their weights."""

    def create_accumulator(self):
        return Row(0, 0)

    def get_value(self, accumulator):
        return accumulator[0] / accumulator[1] if accumulator[1] else None

    def accumulate(self, accumulator, value, weight):
        accumulator[0] += value * weight
        accumulator[1] += weight

    def retract(self, accumulator, value, weight):
        accumulator[0] -= value * weight
        accumulator[1] -= weight

    def merge(self, accumulator, accumulators):
        for other in accumulators:
            accumulator[0] += other[0]
            accumulator[1] += other[1]

    def get_result_type(self):
        return DataTypes.DOUBLE()

    def get_accumulator_type(self):
        return DataTypes.ROW([DataTypes.FIELD("sum", DataTypes.BIGINT()), DataTypes.FIELD("weight", DataTypes.BIGINT())])


weighted_average = udaf(WeightedAverage())
PI = decimal.Decimal("3.14")
