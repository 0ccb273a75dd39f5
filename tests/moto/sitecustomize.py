"""What moto gets wrong, or is too slow at, in a way that nobody here can forgive, put right. Python itself loads this when
moto_server starts (`tests/src/moto.rs`)."""

import functools
import itertools
import random
import threading

from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.models.tags import TagBackend
from moto.iam.models import IAMBackend
from moto.s3.responses import S3Response


def versioning_configuration(answer):
    """moto names the root element after the operation, S3 otherwise.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html"""

    def corrected(self):
        status, headers, body = answer(self)
        wrong, right = "GetBucketVersioningResponse", "VersioningConfiguration"
        if isinstance(body, bytes):
            wrong, right = wrong.encode(), right.encode()
        return status, headers, body.replace(wrong, right)

    return corrected


S3Response.get_bucket_versioning = versioning_configuration(S3Response.get_bucket_versioning)


# moto draws public addresses by lot and does not look whether one is taken: of forty boxes, two have the same one time in
# a hundred.
_taken = itertools.count(random.randrange(255 * 255))


def public_address():
    high, low = divmod(next(_taken) % (255 * 255), 255)
    return f"54.214.{high}.{low}"


elastic_network_interfaces.random_public_ip = public_address


def tags_of_one(answer):
    """moto goes through all tags of the account for those of one resource: 5,000 instances take it minutes to describe."""

    def quick(self, filters=None):
        wanted = (filters or {}).get("resource-id", [])
        if len(wanted) != 1 or not wanted[0].replace("-", "").isalnum():
            return answer(self, filters)
        only = TagBackend()
        only.tags.update((name, tags) for name in wanted if (tags := self.tags.get(name)))
        return answer(only, filters)

    return quick


TagBackend.describe_tags = tags_of_one(TagBackend.describe_tags)


def one_at_a_time(kind, name, lock_of):
    """moto looks whether there is one of this name, or version, and makes it, in two steps: of two requests at once, both
    would be the first."""
    answer = getattr(kind, name)

    @functools.wraps(answer)
    def alone(self, *args, **kwargs):
        with lock_of(self):
            return answer(self, *args, **kwargs)

    setattr(kind, name, alone)


def of_the_account(backend):
    """A lock of this backend's own: moto makes backends, with a security group in them, under a lock of its own, for which
    whoever holds one that is shared by all may be waiting."""
    return backend.__dict__.setdefault("_alone", threading.RLock())


_of_objects = threading.RLock()

one_at_a_time(SecurityGroupBackend, "create_security_group", of_the_account)
one_at_a_time(IAMBackend, "create_role", of_the_account)
one_at_a_time(IAMBackend, "create_instance_profile", of_the_account)
one_at_a_time(S3Response, "put_object", lambda _: _of_objects)
