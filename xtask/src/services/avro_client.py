"""Avro as others write and read it: Confluent's own serializers and fastavro, over Kafka. Used by tests.

produce BROKERS TOPIC REGISTRY SCHEMA ROWS    records of avro-confluent; ROWS is a JSON array
consume BROKERS TOPIC REGISTRY                all records as JSON lines: key, value (both of avro-confluent)
plain-produce BROKERS TOPIC SCHEMA ROWS       records of plain Avro
plain-consume BROKERS TOPIC SCHEMA            all records as JSON lines
raw BROKERS TOPIC HEX                         one record of these bytes
"""

import datetime
import decimal
import io
import json
import sys

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

command, brokers, topic = sys.argv[1:4]
rest = sys.argv[4:]


def typed(value):
    """JSON has no bytes, dates and decimals: {"decimal": "1.50"}, {"date": "2024-01-01"}, {"ms": 5}, {"bytes": "00ff"} stand for them."""
    if isinstance(value, list):
        return [typed(v) for v in value]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, text),) = value.items()
        if kind == "decimal":
            return decimal.Decimal(text)
        if kind == "date":
            return datetime.date.fromisoformat(text)
        if kind == "ms":
            return datetime.datetime.fromtimestamp(text / 1000, datetime.timezone.utc)
        if kind == "bytes":
            return bytes.fromhex(text)
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    return value


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value)


def produce(records):
    producer = Producer({"bootstrap.servers": brokers})
    for value in records:
        producer.produce(topic, value=value)
    if producer.flush(30) != 0:
        sys.exit("not everything was delivered")


def consume():
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    for partition in sorted(partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)
        consumer.assign([TopicPartition(topic, partition, low)])
        while low < high:
            message = consumer.poll(30)
            if message is None or message.error():
                sys.exit(f"no record: {message and message.error()}")
            yield message
            low = message.offset() + 1
    consumer.close()


def show(record):
    print(json.dumps(record, default=plain))


if command == "produce":
    registry, schema, rows = rest
    serializer = AvroSerializer(SchemaRegistryClient({"url": registry}), schema)
    context = SerializationContext(topic, MessageField.VALUE)
    produce([serializer(typed(row), context) for row in json.loads(rows)])
elif command == "consume":
    deserializer = AvroDeserializer(SchemaRegistryClient({"url": rest[0]}))
    for message in consume():
        key, value = message.key(), message.value()
        show({
            "key": key and deserializer(key, SerializationContext(topic, MessageField.KEY)),
            "value": value and deserializer(value, SerializationContext(topic, MessageField.VALUE)),
        })
elif command == "plain-produce":
    schema, records = fastavro.parse_schema(json.loads(rest[0])), []
    for row in json.loads(rest[1]):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, typed(row))
        records.append(out.getvalue())
    produce(records)
elif command == "plain-consume":
    schema = fastavro.parse_schema(json.loads(rest[0]))
    for message in consume():
        show(fastavro.schemaless_reader(io.BytesIO(message.value()), schema, None))
elif command == "raw":
    produce([bytes.fromhex(rest[0])])
