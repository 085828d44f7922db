from __future__ import annotations

from bot.domain.images import Descriptor, ImageIndex, ImageManifest, ImageTree, attached_tag
from bot.domain.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Digest

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def blob(name: str, size: int, media_type: str = "layer") -> Descriptor:
    return Descriptor(media_type, Digest.of(name.encode()), size)


def image(name: str, *layers: Descriptor) -> ImageTree:
    config = blob(f"config of {name}", 5, OCI_CONFIG)
    return ImageTree(ImageManifest(name.encode(), OCI_MANIFEST, config, layers))


def index(*children: ImageTree) -> ImageTree:
    return ImageTree(ImageIndex(b"index", OCI_INDEX, ()), children)


def test_children_come_before_the_index_that_lists_them() -> None:
    tree = index(image("a"), index(image("b")))

    assert [len(m.content) for m in tree.walk()] == [1, 1, 5, 5]
    assert list(tree.walk())[-1] is tree.root


def test_a_shared_blob_counts_once_and_the_largest_comes_first() -> None:
    shared, large = blob("shared", 10), blob("large", 99)

    tree = index(image("a", shared), image("b", shared, large))

    assert [one.size for one in tree.blobs] == [99, 10, 5, 5]
    assert tree.size == 99 + 10 + 5 + 5 + len(b"index" + b"a" + b"b")


def test_layers_that_may_not_be_distributed_are_apart() -> None:
    windows = blob("windows", 50, FOREIGN)

    tree = image("a", windows, blob("own", 1))

    assert tree.withheld == (windows,)
    assert windows not in tree.blobs


def test_an_artifacts_kind_is_its_type_or_its_configs() -> None:
    config = blob("c", 2, "application/x.config")
    plain = ImageManifest(b"", OCI_MANIFEST, config, ())
    typed = ImageManifest(b"", OCI_MANIFEST, config, (), artifact_type="application/x")

    assert (plain.kind, typed.kind) == ("application/x.config", "application/x")
    assert not plain.is_runnable


def test_tags_that_cosign_derives_from_a_digest() -> None:
    digest = Digest("sha256:" + "ab" * 32)

    assert attached_tag(digest, "sig") == "sha256-" + "ab" * 32 + ".sig"
    assert attached_tag(digest, "") == "sha256-" + "ab" * 32
