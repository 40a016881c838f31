"""Makes the pictures of walks.md anew: `python docs/walks.py`. Needs Chromium and playwright; runs the demo first."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).parent / "walks"
MOST_BYTES = 150_000


def main() -> None:
    """Run the demo, walk through its page, keep a picture of each step."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        ratchet(folder, "demo", "demo")
        with serving(Path(folder) / "demo") as url:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for theme in ("light", "dark"):
                page = browser.new_context(
                    viewport={"width": 1440, "height": 900}, color_scheme=theme
                ).new_page()
                walk(page, url, theme)
            browser.close()


def walk(page: Page, url: str, theme: str) -> None:
    """From the home page to the three answers."""
    page.goto(url)
    if theme == "light":
        picture(page, "home")
    page.locator("main a[href^='/compare/']").first.click()
    page.wait_for_selector(".detail .side-b")
    page.wait_for_selector("tr.open")
    picture(page, f"verdict-{theme}")
    if theme == "light":
        page.keyboard.press("j")
        page.wait_for_selector("tr.open >> nth=0")
        page.wait_for_timeout(500)
        page.locator(".side-steps").scroll_into_view_if_needed()
        picture(page, "answer")


def picture(page: Page, name: str) -> None:
    """One PNG of what is seen, small enough for the repository."""
    path = HERE / f"{name}.png"
    seen = base64.b64encode(page.screenshot()).decode()
    blank = page.context.browser.new_page() if page.context.browser else page
    found = blank.evaluate(_IN_256_COLOURS, f"data:image/png;base64,{seen}")
    blank.close()
    path.write_bytes(png(found["width"], bytes(found["palette"]), base64.b64decode(found["pixels"])))
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size:,} bytes, more than {MOST_BYTES:,}")
    sys.stdout.write(f"{path} {size:,} bytes\n")


_IN_256_COLOURS = """async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const colour = data[i] << 16 | data[i + 1] << 8 | data[i + 2];
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const kept = [...counts].sort((x, y) => y[1] - x[1]).slice(0, 256).map(([colour]) => colour);
  const parts = c => [c >> 16, c >> 8 & 255, c & 255];
  const near = new Map(kept.map((colour, index) => [colour, index]));
  const nearest = colour => {
    const [r, g, b] = parts(colour);
    let best = 0, least = Infinity;
    kept.forEach((one, index) => {
      const [x, y, z] = parts(one);
      const away = (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;
      if (away < least) [best, least] = [index, away];
    });
    return best;
  };
  let pixels = '';
  for (let i = 0; i < data.length; i += 4) {
    const colour = data[i] << 16 | data[i + 1] << 8 | data[i + 2];
    if (!near.has(colour)) near.set(colour, nearest(colour));
    pixels += String.fromCharCode(near.get(colour));
  }
  return { width: image.width, palette: kept.flatMap(parts), pixels: btoa(pixels) };
}"""


def png(width: int, palette: bytes, pixels: bytes) -> bytes:
    """A picture of at most 256 colours, a byte a pixel, as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + pixels[start : start + width] for start in range(0, len(pixels), width))
    head = struct.pack(">IIBBBBB", width, len(pixels) // width, 8, 3, 0, 0, 0)
    parts = (
        chunk(b"IHDR", head),
        chunk(b"PLTE", palette),
        chunk(b"IDAT", zlib.compress(lines, 9)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ratchet(folder: str, *args: str) -> None:
    """A command in this folder; its output is shown where it fails."""
    command = [sys.executable, "-m", "ratchet", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


@contextmanager
def serving(folder: Path) -> Generator[str]:
    """The page on this project's store, until the block ends."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "ratchet", "view", "--no-browser", "--port", str(port), "--as", "ann"]
    process = subprocess.Popen(command, cwd=folder, env=dict(os.environ), stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
