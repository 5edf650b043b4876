/** Pictures at whole-number scales: a pixel of the sprite is a whole number of the screen's, whatever its density. */

import { el } from "./elements.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** CSS pixels of one sprite pixel, for a picture that has `room` CSS pixels. Larger pictures are reduced by whole factors. */
export function scaleFor(width, height, room) {
  const dense = window.devicePixelRatio || 1, most = Math.max(width, height);
  const enlarged = Math.floor((room * dense) / most);
  return (enlarged >= 1 ? enlarged : 1 / Math.ceil(most / (room * dense))) / dense;
}

/** The next whole scale, up or down. */
export function stepped(scale, step) {
  const dense = window.devicePixelRatio || 1;
  return Math.max(1, Math.round(scale * dense) + step) / dense;
}

const frameSize = (asset) => (asset.sheet ? asset.sheet.tile_size : [asset.width, asset.height]);

/** The scale at which one frame of the asset fits. */
export const fitting = (asset, room) => scaleFor(...frameSize(asset), room);

/**
 * A canvas with the asset's picture; a sheet plays its clip. `plays` overrules a wish for less motion.
 */
export function picture(asset, scale, { clip = "", plays = !calm.matches, label = asset.prompt || asset.id } = {}) {
  const [width, height] = frameSize(asset), sheet = asset.sheet;
  const canvas = el("canvas", { width, height, role: "img", "aria-label": label, class: "pixels" });
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  const image = new Image(), pen = canvas.getContext("2d");
  const show = (frame) => {
    const columns = sheet ? sheet.columns : 1;
    pen.clearRect(0, 0, width, height);
    pen.drawImage(image, -(frame % columns) * width, -Math.floor(frame / columns) * height);
    canvas.dataset.shown = frame;
  };
  image.onload = () => {
    const chosen = sheet && sheet.animations[clip in sheet.animations ? clip : Object.keys(sheet.animations)[0]];
    show(chosen ? chosen.first : 0);
    if (!chosen || !plays) return;
    const length = chosen.last - chosen.first + 1, rest = chosen.loop ? 0 : Math.ceil(chosen.fps * 0.7);
    let begun = 0, shown = 0;
    const tick = (now) => {
      if (!canvas.isConnected) return;
      begun ||= now;
      const at = Math.min(Math.floor(((now - begun) / 1000) * chosen.fps) % (length + rest), length - 1);
      if (at !== shown) show(chosen.first + (shown = at));
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(() => requestAnimationFrame(tick));
  };
  image.src = asset.png;
  return canvas;
}

/** A whole picture, also of a sheet. */
export function still(png, width, height, scale, label) {
  const image = el("img", { src: png, alt: label, class: "pixels" });
  resize(image, scale, width, height);
  return image;
}

/** Shows an image at a scale. */
export function resize(image, scale, width = image.naturalWidth, height = image.naturalHeight) {
  image.style.width = `${width * scale}px`;
  image.style.height = `${height * scale}px`;
}
