"""A small CGCloud: its names, its bucket, its message, its tags and its agent, over today's boto3.

Written from what CGCloud's own code does (BD2KGenomics/cgcloud: lib/context.py, lib/message.py, agent, core/box.py), and
without a line of Fleetkey's. What CGCloud got wrong it gets wrong here too, where another program can tell.
"""

import base64
import fnmatch
import hashlib
import json
import os
import re
import sys
import time

import boto3
from cryptography.hazmat.primitives import serialization

REGION = "us-west-2"
TOPIC = "cgcloud-agent-notifications"
PREFIX = "ssh_pubkey:"
NAME = re.compile(r"^(/([0-9a-z][0-9a-z._-]*))*/?$")


def client(service):
    return boto3.client(service, region_name=REGION)


def checked(name):
    if not NAME.match(name):
        raise SystemExit(f"Invalid path '{name}'")
    return name


def to_aws(namespace, name):
    name = checked(name if name.startswith("/") else namespace + name)
    return name[1:].replace("_", "__").replace("/", "_")


def from_aws(namespace, name):
    name = checked("/" + "_".join(part.replace("_", "/") for part in name.split("__")))
    return name[len(namespace) :] if name.startswith(namespace) else name


def bucket():
    return client("sts").get_caller_identity()["Account"] + "-cgcloud"


def fingerprint(line):
    """MD5 of the DER SubjectPublicKeyInfo, as EC2 has it of imported RSA keys."""
    key = serialization.load_ssh_public_key(line.encode())
    if not line.startswith("ssh-rsa "):
        raise SystemExit("RSA key format is not supported")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.md5(der).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def topic():
    return client("sns").create_topic(Name=TOPIC)["TopicArn"]


def register_key(name, path):
    line = open(path).read()
    wanted = fingerprint(line)
    made = client("ec2").import_key_pair(KeyName=name, PublicKeyMaterial=line.encode())
    assert made["KeyFingerprint"] == wanted, made
    s3 = client("s3")
    if bucket() not in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket(), CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket(), Key=PREFIX + wanted, Body=line.encode())
    message = base64.standard_b64encode(json.dumps({"version": 1, "type": 1}).encode()).decode()
    client("sns").publish(TopicArn=topic(), Message=message)
    return {"fingerprint": wanted}


def key_pairs(specs):
    """Of '@@' it knows the group developers alone, and the first page of it."""
    names = []
    for spec in specs:
        if spec.startswith("@@"):
            names += [user["UserName"] for user in client("iam").get_group(GroupName="developers")["Users"]]
        elif spec.startswith("@"):
            names.append(client("iam").get_user(UserName=spec[1:])["User"]["UserName"])
        else:
            names.append(spec)
    pairs = {pair["KeyName"]: pair for pair in client("ec2").describe_key_pairs()["KeyPairs"]}
    return [pair for name, pair in pairs.items() if any(fnmatch.fnmatch(name, glob) for glob in names)]


def download(pair):
    s3, stated = client("s3"), pair["KeyFingerprint"]
    try:
        line = s3.get_object(Bucket=bucket(), Key=PREFIX + stated)["Body"].read().decode()
    except s3.exceptions.NoSuchKey:
        return None
    if len(stated.split(":")) == 16 and fingerprint(line) != stated:
        return None
    return line.strip()


def update(path, specs):
    lines = {line for line in map(download, key_pairs(specs)) if line}
    with open(path + ".new", "w") as file:
        file.writelines(line + "\n" for line in sorted(lines))
    os.rename(path + ".new", path)


def agent_once(path, *specs):
    update(path, specs)
    return {}


def agent(host, path, *specs):
    """Looks once, then with every message that it understands, until it is killed."""
    sqs, sns = client("sqs"), client("sns")
    queue = sqs.create_queue(QueueName=to_aws("/", f"{TOPIC}/{host}"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic(), Protocol="sqs", Endpoint=arn)
    update(path, specs)
    while True:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        for message in answer.get("Messages", []):
            told = json.loads(base64.standard_b64decode(json.loads(message["Body"])["Message"]))
            if told["version"] == 1 and told["type"] == 1:
                update(path, specs)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def tag(resource, tags):
    client("ec2").create_tags(Resources=[resource], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])


def launch(namespace, role, cluster="", ordinal="0", *options):
    """An instance is tagged once it is there. One that is in no cluster is a cluster by its own id."""
    run = client("ec2").run_instances(ImageId="ami-12c6146b", InstanceType="t3.micro", MinCount=1, MaxCount=1)
    made = run["Instances"][0]["InstanceId"]
    tags = {
        "Name": to_aws(namespace, role),
        "generation": "0",
        "cluster_ordinal": ordinal,
        "cluster_name": cluster or made,
    }
    tag(made, tags | dict(option.split("=") for option in options))
    return {"id": made}


def instances(namespace, role):
    name = to_aws(namespace, role)
    answer = client("ec2").describe_instances(Filters=[{"Name": "tag:Name", "Values": [name]}])
    found = [one for reservation in answer["Reservations"] for one in reservation["Instances"]]
    found = [one for one in found if one["State"]["Name"] != "terminated"]
    return sorted(found, key=lambda one: (one["LaunchTime"], one.get("PrivateIpAddress", ""), one["InstanceId"]))


def options(thing):
    tags = {one["Key"]: one["Value"] for one in thing.get("Tags", [])}
    return {
        "generation": int(tags.get("generation") or 0),
        "cluster_ordinal": int(tags.get("cluster_ordinal") or 0),
        "cluster_name": tags.get("cluster_name"),
        "tags": tags,
    }


def list_boxes(namespace, role):
    return [{"id": one["InstanceId"], "state": one["State"]["Name"]} | options(one) for one in instances(namespace, role)]


def start(namespace, role, ordinal):
    box = instances(namespace, role)[int(ordinal)]
    client("ec2").start_instances(InstanceIds=[box["InstanceId"]])
    return {"id": box["InstanceId"]}


def image(namespace, role, ordinal):
    box = instances(namespace, role)[int(ordinal)]
    assert box["State"]["Name"] == "stopped", box["State"]
    name = to_aws(namespace, role + "_" + time.strftime("%Y-%m-%d_%H-%M-%S"))
    made = client("ec2").create_image(InstanceId=box["InstanceId"], Name=name)["ImageId"]
    carried = {k: v for k, v in options(box)["tags"].items() if k not in KEPT_BACK}
    tag(made, carried | {"generation": str(options(box)["generation"] + 1)})
    return {"id": made, "name": name}


KEPT_BACK = {"Name", "generation", "cluster_name", "cluster_ordinal"}


def list_images(namespace, role):
    pattern = to_aws(namespace, role + "_") + "*"
    found = client("ec2").describe_images(Filters=[{"Name": "name", "Values": [pattern]}])["Images"]
    found.sort(key=lambda one: one["Name"])
    return [{"id": one["ImageId"], "name": one["Name"]} | options(one) for one in found]


def main(verb, *arguments):
    verbs = [to_aws, from_aws, register_key, agent_once, agent, launch, list_boxes, start, image, list_images]
    chosen = {one.__name__.replace("_", "-"): one for one in verbs}[verb]
    print(json.dumps(chosen(*arguments)))


main(*sys.argv[1:])
