"""Small TIFFs of every layout, and what Pillow reads from each (`Image.open(p).convert("RGB")`).

    python tools/tiff_layouts.py        # writes conformance/tiff/layouts.safetensors.gz; needs pillow, numpy, imagecodecs, safetensors

The file holds, for each case NAME: `NAME.tif`, the bytes; and either `NAME.is`, the name of an `expected/…` tensor
(height × width × 3), or `NAME.refused`, words that the refusal contains. Where Pillow does not open a file that the
specification is clear about, or is known to read it wrongly (`PILLOW_IS_WRONG`), the pixels that were written are expected.
`NAME.within` is how far from it a value may be, where decoders round in their own ways.
"""
import gzip
import hashlib
import io
import itertools
import pathlib
import struct

import imagecodecs
import numpy as np
from PIL import Image
from safetensors.numpy import save

OUT = pathlib.Path(__file__).parent.parent / "conformance/tiff/layouts.safetensors.gz"
NONE, LZW, JPEG, DEFLATE, PACKBITS, ZSTD = 1, 5, 7, 8, 32773, 50000
NAMES = {NONE: "none", LZW: "lzw", JPEG: "jpeg", DEFLATE: "deflate", PACKBITS: "packbits", ZSTD: "zstd"}
rng = np.random.default_rng(5)


def write(tags, chunks, order="<", big=False, tiled=False):
    """A TIFF of these tags ({number: (type, values)}) and chunks of bytes."""
    head = 16 if big else 8
    places, body = [], b""
    for chunk in chunks:
        places.append(head + len(body))
        body += chunk + b"\0" * (len(chunk) % 2)
    body += b"\0" * (-len(body) % 8)
    tags = dict(tags)
    tags[324 if tiled else 273] = ("Q" if big else "I", places)
    tags[325 if tiled else 279] = ("Q" if big else "I", [len(c) for c in chunks])
    number = {"B": 1, "H": 3, "I": 4, "5": 5, "Q": 16, "7": 7}
    at = head + len(body)
    room, entry_size, count_size = (8, 20, 8) if big else (4, 12, 2)
    extra_at = at + count_size + entry_size * len(tags) + room
    entries = extra = b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        if kind == "7":
            raw, count = bytes(values), len(values)
        elif kind == "5":
            raw, count = b"".join(struct.pack(order + "II", *v) for v in values), len(values)
        else:
            raw, count = struct.pack(order + kind * len(values), *values), len(values)
        if len(raw) > room:
            value = struct.pack(order + ("Q" if big else "I"), extra_at + len(extra))
            extra += raw + b"\0" * (-len(raw) % 8)
        else:
            value = raw.ljust(room, b"\0")
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, number[kind], count) + value
    mark = b"II" if order == "<" else b"MM"
    start = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    directory = struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + b"\0" * room
    return start + body + directory + extra


def pack(block, depth, order):
    """Rows of samples to bytes: each row begins at a whole byte."""
    if depth == 8:
        return block.astype(np.uint8).tobytes()
    if depth in (16, 32):
        kind = block.dtype.kind
        return block.astype(f"{order}{kind}{depth // 8}").tobytes()
    rows = block.reshape(block.shape[0], -1).astype(np.uint8)
    bits = np.unpackbits(rows[..., None], axis=-1)[..., 8 - depth:].reshape(rows.shape[0], -1)
    return np.packbits(bits, axis=-1).tobytes()


def compress(raw, compression, block):
    if compression == NONE:
        return raw
    if compression == JPEG:
        kind = "rgb" if block.shape[-1] == 3 else "grayscale"
        values = np.ascontiguousarray(block.astype(np.uint8).squeeze())
        return imagecodecs.jpeg_encode(values, level=95, colorspace=kind, outcolorspace=kind, subsampling="444")
    if compression == PACKBITS:
        return imagecodecs.packbits_encode(raw)
    encode = {LZW: imagecodecs.lzw_encode, DEFLATE: imagecodecs.zlib_encode, ZSTD: imagecodecs.zstd_encode}[compression]
    return encode(raw)


def tiff(pixels, photometric, depth, extra=None, chunk=None, rows=None, planar=1, compression=NONE, predictor=1,
         order="<", big=False, fill=1, more=None, spp=True):
    """A file of `pixels` (height × width × samples, values as stored)."""
    height, width, samples = pixels.shape
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [depth] * samples), 259: ("H", [compression]),
            262: ("H", [photometric]), 284: ("H", [planar])}
    if spp:
        tags[277] = ("H", [samples])
    if extra is not None:
        tags[338] = ("H", extra)
    if predictor != 1:
        tags[317] = ("H", [predictor])
    if fill != 1:
        tags[266] = ("H", [fill])
    kind = pixels.dtype.kind
    if kind in "if":
        tags[339] = ("H", [{"i": 2, "f": 3}[kind]] * samples)
    if chunk:
        tags |= {322: ("I", [chunk[0]]), 323: ("I", [chunk[1]])}
    else:
        rows = rows or height
        tags[278] = ("I", [rows])
    tags |= more or {}
    chunks = []
    for plane in range(samples) if planar == 2 else [slice(None)]:
        values = pixels[..., plane] if planar == 1 else pixels[..., plane:plane + 1]
        step = chunk or (width, rows)
        for y, x in itertools.product(range(0, height, step[1]), range(0, width, step[0])):
            block = values[y:y + step[1], x:x + step[0]]
            if chunk:
                # Padding that is no part of a scene: whoever reads it into the picture is seen.
                padded = np.full((chunk[1], chunk[0], block.shape[2]), 0x5AA5 & (1 << min(depth, 15)) - 1, values.dtype)
                padded[:block.shape[0], :block.shape[1]] = block
                block = padded
            if predictor == 2:
                wide = block.astype(np.int64)
                wide[:, 1:] = (wide[:, 1:] - block[:, :-1].astype(np.int64)) % (1 << depth)
                block = wide.astype(block.dtype)
            raw = compress(pack(block, depth, order), compression, block)
            if fill == 2:
                raw = bytes(int(f"{b:08b}"[::-1], 2) for b in raw)
            chunks.append(raw)
    return write(tags, chunks, order, big, bool(chunk))


def scene(width, height, samples, depth):
    y, x = np.mgrid[0:height, 0:width]
    most = (1 << depth) - 1
    bands = [(x * (3 + 2 * b) * (1 << depth) // 97 + y * (1 << depth) // 31 + b * (1 << depth) // 5) & most for b in range(samples)]
    return np.stack(bands, -1).astype(np.uint8 if depth <= 8 else np.uint16)


def to8(values, depth):
    return (values >> 8).astype(np.uint8) if depth == 16 else (values * (255 // ((1 << depth) - 1))).astype(np.uint8)


def truth(pixels, photometric, depth, extra, colours=None):
    """The RGB that the values stand for."""
    v = to8(pixels, depth)
    if photometric in (0, 1):
        grey = v[..., 0]
        if extra and 1 in extra:
            grey = np.where(v[..., 1] == 0, 0, np.minimum(255, grey.astype(int) * 255 // np.maximum(v[..., 1], 1))).astype(np.uint8)
        return np.stack([255 - grey if photometric == 0 else grey] * 3, -1)
    if photometric == 3:
        return colours[pixels[..., 0]]
    if photometric == 5:
        light = 255 - v[..., 3:4].astype(int)
        wide = v[..., :3].astype(int) * light + 128
        return np.clip(light - ((wide + (wide >> 8)) >> 8), 0, 255).astype(np.uint8)
    if extra and 1 in extra:
        alpha = v[..., 3 + extra.index(1)][..., None].astype(int)
        return np.where(alpha == 0, 0, np.minimum(255, v[..., :3].astype(int) * 255 // np.maximum(alpha, 1))).astype(np.uint8)
    return v[..., :3]


def pillow(data):
    try:
        image = Image.open(io.BytesIO(data))
        if image.mode.startswith("I") or image.mode == "F":
            return None  # 16-bit grey: convert cuts values off at 255; the rule here is the high byte
        return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def colour_map(depth):
    colours = rng.integers(0, 256, (1 << depth, 3)).astype(np.uint8)
    values = [int(v) * 257 for c in range(3) for v in colours[:, c]]
    return colours, {320: ("H", values)}


# name: photometric, samples, extra samples, depth
KINDS = {
    **{f"grey{d}": (1, 1, None, d) for d in (1, 2, 4, 8, 16)},
    **{f"white{d}": (0, 1, None, d) for d in (1, 2, 4, 8)},
    **{f"palette{d}": (3, 1, None, d) for d in (1, 2, 4, 8)},
    "grey8-x": (1, 2, [0], 8), "grey8-alpha": (1, 2, [2], 8), "grey8-associated": (1, 2, [1], 8), "grey16-alpha": (1, 2, [2], 16),
    "palette8-x": (3, 2, [0], 8),
    "rgb8": (2, 3, None, 8), "rgb16": (2, 3, None, 16),
    "rgb8-four": (2, 4, None, 8), "rgb8-x": (2, 4, [0], 8), "rgb8-alpha": (2, 4, [2], 8), "rgb8-associated": (2, 4, [1], 8),
    "rgb8-xx": (2, 5, [0, 0], 8), "rgb8-alpha-x": (2, 5, [2, 0], 8), "rgb8-xxx": (2, 6, [0, 0, 0], 8),
    "rgb8-x9": (2, 12, [0] * 9, 8),
    "rgb16-x": (2, 4, [0], 16), "rgb16-alpha": (2, 4, [2], 16), "rgb16-associated": (2, 4, [1], 16), "rgb16-xx": (2, 5, [0, 0], 16),
    "cmyk8": (5, 4, None, 8), "cmyk16": (5, 4, None, 16), "cmyk8-x": (5, 5, [0], 8),
}
LAYOUTS = {"strips5": dict(rows=5), "strip": {}, "tiles": dict(chunk=(16, 16)), "tall-tiles": dict(chunk=(16, 32))}
CODINGS = [(NONE, 1), (LZW, 1), (LZW, 2), (DEFLATE, 1), (DEFLATE, 2), (PACKBITS, 1), (ZSTD, 1), (ZSTD, 2)]
cases, wrong, unread = {}, [], []


def expect(name, data, pixels, within=0):
    key = "expected/" + hashlib.sha256(pixels.tobytes() + bytes(str(pixels.shape), "ascii")).hexdigest()[:12]
    cases[key] = np.ascontiguousarray(pixels)
    cases[name + ".tif"] = np.frombuffer(data, np.uint8)
    cases[name + ".is"] = np.frombuffer(key.encode(), np.uint8)
    if within:
        cases[name + ".within"] = np.array([within], np.uint8)


def refuse(name, data, words):
    cases[name + ".tif"] = np.frombuffer(data, np.uint8)
    cases[name + ".refused"] = np.frombuffer(words.encode(), np.uint8)


def add(name, data, wanted, within=0):
    """Pillow's pixels, checked against those that were written."""
    read = pillow(data)
    if read is None:
        unread.append(name)
    elif read.shape != wanted.shape or np.abs(read.astype(int) - wanted).max() > within:
        wrong.append(name)
    else:
        wanted = read
    expect(name, data, wanted, within)


def main():
    turn = 0
    for kind, (photometric, samples, extra, depth) in KINDS.items():
        for (layout, how), planar in itertools.product(LAYOUTS.items(), (1, 2)):
            if planar == 2 and samples == 1:
                continue
            width, height = (32, 16) if layout == "tiles" and turn % 3 == 0 else (21, 13)
            full = kind in ("rgb8", "rgb8-x", "grey16", "rgb16") and layout in ("strips5", "tiles")
            codings = [c for c in CODINGS if c[1] == 1 or depth >= 8]
            codings = codings if full else [codings[(turn + k * 3) % len(codings)] for k in range(2)]
            for compression, predictor in codings:
                turn += 1
                order, big = "<>"[turn % 2], turn % 5 == 0
                pixels = scene(width, height, samples, depth)
                colours, more = colour_map(depth) if photometric == 3 else (None, None)
                if extra and 1 in extra:
                    alpha = samples - len(extra) + extra.index(1)
                    pixels[..., :alpha] = np.minimum(pixels[..., :alpha], pixels[..., alpha:alpha + 1])
                data = tiff(pixels, photometric, depth, extra, planar=planar, compression=compression, predictor=predictor,
                            order=order, big=big, more=more, **how)
                name = "-".join([kind, layout, "apart" if planar == 2 else "together", NAMES[compression] + (f"{predictor}" if predictor > 1 else ""),
                                 "le" if order == "<" else "be"] + ["big"] * big)
                if kind == "rgb8-four" and planar == 2:
                    # Pillow takes the fourth for an associated alpha if the file is compressed, for none otherwise.
                    refuse(name, data, "planes apart whose fourth")
                    continue
                add(name, data, truth(pixels, photometric, depth, extra, colours))
    special()
    refusals()
    masks()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(gzip.compress(save(cases), 9, mtime=0))
    count = sum(name.endswith(".tif") for name in cases)
    print(f"{count} files, {OUT.stat().st_size} bytes; Pillow does not open {len(unread)}: {unread}")
    print(f"Pillow reads {len(wrong)} otherwise: {wrong}")


def ycbcr_units(pixels, h, v):
    """Pixels of Y, Cb, Cr to units of h·v lumas and one of each chroma (the first of the block)."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((0, -height % v), (0, -width % h), (0, 0)), mode="edge")
    out = b""
    for y, x in itertools.product(range(0, padded.shape[0], v), range(0, padded.shape[1], h)):
        out += padded[y:y + v, x:x + h, 0].tobytes() + padded[y, x, 1:].tobytes()
    return out


def ycbcr_rgb(pixels, h, v):
    """By the definition of ITU-R BT.601, chroma repeated."""
    y, x = np.mgrid[0:pixels.shape[0], 0:pixels.shape[1]]
    luma = pixels[..., 0].astype(float)
    cb, cr = (pixels[y // v * v, x // h * h, c].astype(float) - 128 for c in (1, 2))
    rgb = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], -1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def special():
    rgb = scene(21, 13, 3, 8)
    image = Image.fromarray(rgb)
    # YCbCr with chroma of every coarseness.
    smooth = np.asarray(Image.fromarray(scene(21, 13, 3, 8)).convert("YCbCr"))
    for (h, v), (coding, layout), order in zip(
            itertools.product((1, 2, 4), (1, 2, 4)), itertools.cycle([(NONE, "strip"), (LZW, "tiles"), (DEFLATE, "strips")]), itertools.cycle("<>")):
        rows = 4
        tags = {256: ("I", [21]), 257: ("I", [13]), 258: ("H", [8] * 3), 259: ("H", [coding]), 262: ("H", [6]), 277: ("H", [3]), 530: ("H", [h, v])}
        if layout == "tiles":
            tags |= {322: ("I", [16]), 323: ("I", [16])}
            padded = np.pad(smooth, ((0, 3), (0, 11), (0, 0)), mode="edge")
            blocks = [padded[:, :16], padded[:, 16:]]
        elif layout == "strips":
            tags[278] = ("I", [rows])
            blocks = [smooth[y:y + rows] for y in range(0, 13, rows)]
        else:
            tags[278] = ("I", [13])
            blocks = [smooth]
        chunks = [compress(ycbcr_units(b, h, v), coding, b) for b in blocks]
        data = write(tags, chunks, order, False, layout == "tiles")
        add(f"ycbcr-{h}x{v}-{layout}-{NAMES[coding]}", data, ycbcr_rgb(smooth, h, v), within=2)
    # By libtiff, through Pillow.
    def saved(im, **how):
        out = io.BytesIO()
        im.save(out, "TIFF", **how)
        return out.getvalue()
    big = Image.fromarray(np.asarray(image.resize((64, 48), Image.BICUBIC)))
    for name, im in {"rgb": big, "grey": big.convert("L"), "cmyk": big.convert("CMYK"), "ycbcr": big.convert("YCbCr")}.items():
        for strip in (16, 48):
            data = saved(im, compression="jpeg", quality=90, tiffinfo={278: strip})
            expect(f"jpeg-{name}-strips{strip}", data, pillow(data), within=3)
    y, x = np.mgrid[0:13, 0:29]
    ink = (((x - 9) ** 2 + (y - 6) ** 2 < 30) | (x % 7 == 0) | (y == 12))
    bilevel = Image.fromarray(ink)
    for coding in ("group3", "group4"):
        for strip in (5, 13):
            data = saved(bilevel, compression=coding, tiffinfo={278: strip})
            expect(f"fax-{coding}-strips{strip}", data, pillow(data))
    # Tiles of JPEG, with planes together and apart.
    for planar, photometric in ((1, 2), (2, 2), (1, 1)):
        smooth = np.asarray(big)[..., :1 if photometric == 1 else 3]
        data = tiff(smooth, photometric, 8, chunk=(32, 32), planar=planar, compression=JPEG)
        expect(f"jpeg-tiles-{photometric}-{planar}", data, pillow(data), within=1)
    for depth in (1, 2, 4, 8):
        pixels = scene(21, 13, 1, depth)
        for layout, how in (("strips", dict(rows=5)), ("tiles", dict(chunk=(16, 16)))):
            for coding in (NONE, LZW):
                data = tiff(pixels, 1, depth, compression=coding, fill=2, **how)
                add(f"reversed-grey{depth}-{layout}-{NAMES[coding]}", data, truth(pixels, 1, depth, None))
    for n in range(1, 9):
        data = tiff(rgb, 2, 8, rows=5, more={274: ("H", [n])})
        expect(f"orientation{n}", data, oriented(rgb, n))
    add("one-pixel", tiff(rgb[:1, :1], 2, 8), rgb[:1, :1])
    add("one-pixel-tile", tiff(rgb[:1, :1], 2, 8, chunk=(16, 16)), rgb[:1, :1])
    add("one-row", tiff(rgb[:1], 2, 8, rows=1, compression=LZW, predictor=2), rgb[:1])
    no_lengths = tiff(rgb, 2, 8)
    # The tag of strip lengths gets a number that nobody reads.
    no_lengths = no_lengths.replace(struct.pack("<HHI", 279, 4, 1), struct.pack("<HHI", 280, 4, 1))
    add("no-strip-lengths", no_lengths, rgb)


def oriented(rgb, n):
    turn = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
            6: lambda a: a.swapaxes(0, 1)[:, ::-1], 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[::-1]}
    return np.ascontiguousarray(turn[n](rgb))


def refusals():
    rgb = scene(21, 13, 3, 8)
    for (layout, how), planar in itertools.product(LAYOUTS.items(), (1, 2)):
        end = f"-{layout}-{planar}"
        refuse("lab" + end, tiff(rgb, 8, 8, planar=planar, **how), "L*a*b*")
        refuse("five-bands" + end, tiff(scene(21, 13, 5, 8), 1, 8, [0] * 4, planar=planar, **how), "grey TIFFs of 5 bands")
        refuse("three-bands" + end, tiff(rgb, 1, 8, [0, 0], planar=planar, **how), "grey TIFFs of 3 bands")
        refuse("float32" + end, tiff(rgb.astype(np.float32), 2, 32, planar=planar, **how), "32-bit floating-point")
        refuse("int16" + end, tiff(scene(21, 13, 3, 16).astype(np.int16), 2, 16, planar=planar, **how), "16-bit signed")
        refuse("uint32" + end, tiff(scene(21, 13, 1, 16).astype(np.uint32), 1, 32, planar=planar, **how), "32-bit whole")
    refuse("white16", tiff(scene(21, 13, 1, 16), 0, 16), "16-bit grey whose 0 is white")
    refuse("icc-lab", tiff(rgb, 9, 8), "L*a*b*")
    refuse("inks", tiff(scene(21, 13, 5, 8), 5, 8, more={332: ("H", [2])}), "other inks than CMYK")
    refuse("mask", tiff(scene(21, 13, 1, 1), 4, 1), "transparency masks")
    refuse("raw-camera", tiff(scene(21, 13, 1, 16), 32803, 16), "raw camera")
    refuse("predictor3", tiff(rgb, 2, 8, compression=LZW, predictor=3), "predictor (3)")
    refuse("rgb4", tiff(scene(21, 13, 3, 4), 2, 4), "4-bit RGB")
    refuse("mixed", tiff(rgb, 2, 8, more={258: ("H", [8, 8, 16])}), "different depths")
    refuse("twelve-bits", tiff(scene(20, 13, 1, 8), 1, 8, more={258: ("H", [12])}), "12-bit whole")
    for number, words in {2: "CCITT run lengths", 6: "old-style JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50001: "WebP",
                          32809: "ThunderScan", 4242: "compression 4242"}.items():
        refuse(f"compression{number}", tiff(rgb, 2, 8, more={259: ("H", [number])}), words)
    refuse("ycbcr-apart", tiff(rgb, 6, 8, planar=2), "YCbCr with planes apart")
    refuse("ycbcr-five", tiff(scene(21, 13, 5, 8), 6, 8, [0, 0]), "YCbCr TIFFs of 5 bands")
    refuse("palette16", tiff(scene(21, 13, 1, 16), 3, 16), "16-bit palette")
    sparse = tiff(rgb, 2, 8, chunk=(16, 16), compression=LZW)
    places = struct.pack("<HHI", 324, 4, 2)
    at = struct.unpack_from("<I", sparse, sparse.index(places) + 8)[0]
    lengths = struct.unpack_from("<I", sparse, sparse.index(struct.pack("<HHI", 325, 4, 2)) + 8)[0]
    sparse = bytearray(sparse)
    sparse[at + 4:at + 8] = sparse[lengths + 4:lengths + 8] = bytes(4)
    refuse("sparse", bytes(sparse), "not in the file")


def masks():
    """`mask/NAME`: masks with the ids that they hold."""
    for depth in (1, 2, 4, 8):
        ids = scene(21, 13, 1, depth)
        for (layout, how), coding in zip(LAYOUTS.items(), (NONE, LZW, DEFLATE, PACKBITS)):
            for photometric in (1, 3, 0):
                more = colour_map(depth)[1] if photometric == 3 else None
                data = tiff(ids, photometric, depth, compression=coding, more=more, **how)
                wanted = (1 << depth) - 1 - ids if photometric == 0 else ids
                name = f"mask/{photometric}-{depth}-{layout}"
                cases[name + ".tif"] = np.frombuffer(data, np.uint8)
                cases[name + ".ids"] = np.ascontiguousarray(wanted[..., 0].astype(np.uint8))
    small = scene(21, 13, 1, 8).astype(np.uint16)
    for (layout, how), order in zip(LAYOUTS.items(), "<><>"):
        name = f"mask/16-{layout}"
        cases[name + ".tif"] = np.frombuffer(tiff(small, 1, 16, order=order, compression=LZW, predictor=2, **how), np.uint8)
        cases[name + ".ids"] = np.ascontiguousarray(small[..., 0].astype(np.uint8))
    refuse("mask/rgb", tiff(scene(21, 13, 3, 8), 2, 8, chunk=(16, 16), planar=2), "a mask of colours")
    refuse("mask/two-bands", tiff(scene(21, 13, 2, 8), 1, 8, [0]), "2 bands")
    refuse("mask/great", tiff(small + 40000, 1, 16), "16-bit mask")
    refuse("mask/float", tiff(small.astype(np.float32), 1, 32), "floating-point")
    refuse("mask/jpeg", tiff(scene(32, 32, 1, 8), 1, 8, compression=JPEG), "JPEG-compressed")


main()
