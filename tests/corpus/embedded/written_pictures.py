"""Pictures in six containers, with XMP, EXIF, IPTC and texts as other programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

CONTAINERS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")
_NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "cc": "http://creativecommons.org/ns#",
    "tdm": "http://www.w3.org/ns/tdmrep/",
    "dcterms": "http://purl.org/dc/terms/",
    "rsl": "https://rslstandard.org/rsl",
}
_GIF_TRAILER = bytes([1, *range(255, -1, -1)]) + b"\0"


def xmp(inner: str, **attributes: str) -> bytes:
    """A packet with properties as elements, and as attributes by `prefix_name`."""
    spaces = " ".join(f'xmlns:{prefix}="{address}"' for prefix, address in _NAMESPACES.items())
    written = " ".join(f'{name.replace("_", ":", 1)}="{value}"' for name, value in attributes.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {written}>{inner}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def sequence(tag: str, *items: str) -> str:
    """A property with items in order."""
    return f"<{tag}><rdf:Seq>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:Seq></{tag}>"


def exif(**tags: Any) -> bytes:
    """EXIF data with `Artist`, `Copyright`, `XPAuthor`, `DateTimeOriginal`."""
    written = Image.Exif()
    for name, tag in (("Artist", 0x13B), ("Copyright", 0x8298), ("XPAuthor", 0x9C9D)):
        if name in tags:
            written[tag] = tags[name]
    if "DateTimeOriginal" in tags:
        written.get_ifd(0x8769)[0x9003] = tags["DateTimeOriginal"]
    return written.tobytes()


def iptc(*data_sets: tuple[int, int, bytes]) -> bytes:
    """IPTC data sets."""
    return b"".join(
        struct.pack(">BBBH", 0x1C, record, number, len(text)) + text for record, number, text in data_sets
    )


def picture(
    container: str,
    *,
    packet: bytes = b"",
    exif_data: bytes = b"",
    iptc_data: bytes = b"",
    texts: dict[str, str] | None = None,
    side: int = 24,
    image: Image.Image | None = None,
) -> bytes:
    """A small picture, or the given one, with these blocks in one of the `CONTAINERS`."""
    image = image or Image.radial_gradient("L").resize((side, side)).convert("RGB")
    options: dict[str, Any] = {"exif": exif_data} if exif_data and container != "GIF" else {}
    if packet and container in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = packet
    if container == "PNG":
        options["pnginfo"] = _png_texts(packet, texts or {})
    if container == "TIFF":
        options["tiffinfo"] = ImageFileDirectory_v2()
        if packet:
            options["tiffinfo"][700] = packet
        if iptc_data:
            options["tiffinfo"][33723] = iptc_data + b"\0" * (-len(iptc_data) % 4)
        options.pop("exif", None)
        if exif_data:
            held = Image.Exif()
            held.load(exif_data)
            options["tiffinfo"].update(dict(held))
    buffer = io.BytesIO()
    image.save(buffer, container, **options)
    encoded = buffer.getvalue()
    if container == "JPEG" and iptc_data:
        encoded = with_segment(encoded, 0xED, b"Photoshop 3.0\0" + _iptc_resource(iptc_data))
    if container == "TIFF" and iptc_data:
        encoded = _declared_as_numbers(encoded, 33723)
    if container == "PNG" and iptc_data:
        resource = _iptc_resource(iptc_data)
        raw = f"\nIPTC profile\n{len(resource):8}\n{resource.hex()}\n".encode()
        encoded = with_chunk(encoded, b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(raw))
    if container == "GIF" and packet:
        encoded = encoded[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + _GIF_TRAILER + b"\x3b"
    return encoded


def _declared_as_numbers(tiff: bytes, tag: int) -> bytes:
    """The file with a tag of bytes declared as numbers of four bytes, as most programs declare IPTC's."""
    for kind in (1, 7):
        at = tiff.find(struct.pack("<HH", tag, kind))
        if at >= 0:
            count = struct.unpack_from("<I", tiff, at + 4)[0] // 4
            return tiff[:at] + struct.pack("<HHI", tag, 4, count) + tiff[at + 8 :]
    raise AssertionError(f"the file has no tag {tag}")


def _png_texts(packet: bytes, texts: dict[str, str]) -> PngInfo:
    written = PngInfo()
    if packet:
        written.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    for keyword, text in texts.items():
        written.add_itxt(keyword, text)
    return written


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG file with a segment as its first."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """The PNG file with a chunk after its pixels."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return png[:-12] + chunk + png[-12:]


def extended_xmp(main: bytes, extension: bytes, *, portions: int = 2) -> bytes:
    """A JPEG file whose second packet lies in portions; `main` names it by `DIGEST`."""
    digest = b"0123456789ABCDEF0123456789ABCDEF"
    encoded = picture("JPEG", packet=main.replace(b"DIGEST", digest))
    step = -(-len(extension) // portions)
    for offset in range(0, len(extension), step):
        head = b"http://ns.adobe.com/xmp/extension/\0" + digest + struct.pack(">II", len(extension), offset)
        encoded = with_segment(encoded, 0xE1, head + extension[offset : offset + step])
    return encoded


def _iptc_resource(data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(data)) + data + b"\0" * (len(data) % 2)
