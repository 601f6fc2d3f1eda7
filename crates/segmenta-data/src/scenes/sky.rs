//! The sky and what closes the view below it.

use super::canvas::{Area, Canvas, rgb};
use super::light::Light;
use super::random::{Random, fractal, noise, ramp};
use super::view::View;
use super::{CLASS_SKY, CLASS_TREE};

/// Clouds lie on a plane above the camera, so that they grow small towards the horizon.
pub(crate) fn paint(canvas: &mut Canvas, view: &View, light: &Light, random: &mut Random) {
    let seed = random.seed();
    let drift = random.range(0.0, 50.0);
    let area = Area {
        bottom: view.vanish.1 + 0.02,
        ..Area::ALL
    };
    canvas.paint(area, CLASS_SKY, |x, y| {
        let (right, up) = view.ray(x, y);
        let up = up.max(0.0);
        let height = (up * 1.6).min(1.0);
        let clear = light
            .horizon
            .mix(light.zenith, height.sqrt() * (1.4 - 0.4 * height));
        let [sx, sy, sz] = light.to_sun;
        let glow = if sz > 0.0 {
            let (a, b) = (right - sx / sz, up - sy / sz);
            0.5 / (1.0 + 14.0 * (a * a + b * b))
        } else {
            0.0
        };
        let clear = clear + light.sun * glow;
        let far = up + 0.10;
        let thick = fractal(right / far * 0.9 + drift, 0.8 / far, seed, 4);
        let cloud =
            ramp(0.72 - 0.5 * light.cover, 0.98 - 0.5 * light.cover, thick) * ramp(0.0, 0.16, up);
        let belly = 1.0 - 0.35 * ramp(0.45, 0.8, thick);
        Some(clear.mix(light.cloud * belly, cloud * 0.9))
    });
}

/// One or two ridges of woods along the horizon.
pub(crate) fn ridges(canvas: &mut Canvas, view: &View, light: &Light, random: &mut Random) {
    let rows = 1 + random.below(2);
    for row in 0..rows {
        let seed = random.seed();
        let z = 90.0 + 160.0 * row as f32;
        let rise = random.range(0.03, 0.06) + 0.03 * row as f32;
        let green = rgb(random.pick(&[0x4d6b38, 0x5a7040, 0x45603c]));
        let area = Area {
            top: view.vanish.1 - rise - 0.05,
            bottom: view.vanish.1 + 0.03,
            ..Area::ALL
        };
        canvas.paint(area, CLASS_TREE, |x, y| {
            let height =
                rise * fractal(x * 2.3, 0.0, seed, 2) + 0.022 * fractal(x * 28.0, 3.0, seed, 3);
            let up = view.vanish.1 - y;
            (up < height).then(|| {
                let leaf = noise(x * 130.0, y * 130.0, seed);
                let shade = 0.55 + 0.35 * leaf + 0.3 * (up / height).max(0.0);
                light.through_air(light.on(green * shade, [0.0, 0.7, -0.7]), z)
            })
        });
    }
}
