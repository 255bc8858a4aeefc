"""Where checkpoints come from: those that the store lists, their manifests, and their parts."""

from __future__ import annotations

from conflict.version import ActorId
from geosync.engine.site import Site
from transport.checkpoint import (
    CHECKPOINT_MANIFEST_OBJECT_SIZE_BYTES_MAX,
    CHECKPOINT_PART_OBJECT_SIZE_BYTES_MAX,
    Manifest,
    decode_manifest,
)
from transport.object_names import (
    CHECKPOINTS_PREFIX,
    CheckpointName,
    checkpoint_manifest_name,
    checkpoint_part_name,
    recognise,
)


def listed(site: Site) -> list[CheckpointName]:
    """Returns the checkpoints whose manifests the store lists. Only a hint, as all listings.

    Raises:
        StoreUnavailable, StoreRefused: see ObjectStore.
    """
    found = [recognise(name) for name in site.store.list_names(CHECKPOINTS_PREFIX)]
    return [each for each in found if isinstance(each, CheckpointName) and each.part is None]


def stored_manifest(site: Site, actor: ActorId, number: int) -> bytes:
    """Returns a manifest as it is stored.

    Raises:
        ObjectNotVisible, StoreUnavailable, StoreRefused, CorruptObject: see ObjectStore.
    """
    name = checkpoint_manifest_name(actor, number)
    return site.store.get(name, size_bytes_max=CHECKPOINT_MANIFEST_OBJECT_SIZE_BYTES_MAX)


def read_manifest(site: Site, actor: ActorId, number: int) -> Manifest:
    """Returns a manifest.

    Raises:
        CorruptObject: it is not the manifest of this checkpoint.
        ObjectNotVisible, StoreUnavailable, StoreRefused: see ObjectStore.
    """
    stored = stored_manifest(site, actor, number)
    return decode_manifest(stored, site.hasher, site.volume, actor, number)


def stored_part(site: Site, manifest: Manifest, index: int) -> bytes:
    """Returns a part as it is stored.

    Raises:
        ObjectNotVisible, StoreUnavailable, StoreRefused, CorruptObject: see ObjectStore.
    """
    name = checkpoint_part_name(manifest.actor, manifest.number, index)
    return site.store.get(name, size_bytes_max=CHECKPOINT_PART_OBJECT_SIZE_BYTES_MAX)
