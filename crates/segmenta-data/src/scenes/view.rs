//! The camera: where metres of the world lie in the picture.

use super::canvas::Area;

/// A camera that looks along the road. The world is in metres: x to the right of the road's middle, y up from the
/// ground, z away from the camera. The picture is in picture heights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Focal length over picture height.
    pub(crate) focal: f32,
    /// Where the road vanishes.
    pub(crate) vanish: (f32, f32),
    /// Where the camera is: x and y.
    pub(crate) eye: (f32, f32),
    /// How strongly the road bends, in metres per metre².
    pub(crate) bend: f32,
}

/// A line of sight: x and y gained per metre of z.
pub(crate) type Ray = (f32, f32);

impl View {
    /// Nothing nearer than this is painted.
    pub(crate) const NEAR: f32 = 0.8;

    pub(crate) fn ray(&self, x: f32, y: f32) -> Ray {
        (
            (x - self.vanish.0) / self.focal,
            (self.vanish.1 - y) / self.focal,
        )
    }

    /// x and y where a ray reaches z.
    pub(crate) fn at(&self, ray: Ray, z: f32) -> (f32, f32) {
        (self.eye.0 + ray.0 * z, self.eye.1 + ray.1 * z)
    }

    /// x and z where a picture point meets the ground, x from the middle of the bending road.
    pub(crate) fn ground(&self, x: f32, y: f32) -> Option<(f32, f32)> {
        let ray = self.ray(x, y);
        let z = -self.eye.1 / ray.1;
        (ray.1 < 0.0).then(|| (self.at(ray, z).0 - self.shift(z), z))
    }

    /// Where a point of the world lies in the picture.
    pub(crate) fn project(&self, x: f32, y: f32, z: f32) -> (f32, f32) {
        let scale = self.focal / z.max(Self::NEAR);
        (
            self.vanish.0 + (x + self.shift(z) - self.eye.0) * scale,
            self.vanish.1 - (y - self.eye.1) * scale,
        )
    }

    /// The picture area around an upright box.
    pub(crate) fn around(&self, x: (f32, f32), y: (f32, f32), z: (f32, f32)) -> Area {
        let corners = (0..8).map(|i| {
            let end = |pair: (f32, f32), bit: usize| if i & bit == 0 { pair.0 } else { pair.1 };
            self.project(end(x, 1), end(y, 2), end(z, 4))
        });
        Area::around(corners)
    }

    /// The same camera beside a straight road that agrees with the bending one at z: what stands there is painted
    /// through it.
    pub(crate) fn straight(&self, z: f32) -> Self {
        Self {
            eye: (self.eye.0 - self.shift(z), self.eye.1),
            bend: 0.0,
            ..*self
        }
    }

    /// How far the road's middle has moved at z.
    fn shift(&self, z: f32) -> f32 {
        self.bend * z * z / (1.0 + z / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ground_undoes_project() {
        let view = View {
            focal: 1.0,
            vanish: (0.6, 0.4),
            eye: (1.5, 1.6),
            bend: 0.003,
        };
        let (x, y) = view.project(-3.0, 0.0, 12.0);
        let (wx, wz) = view.ground(x, y).unwrap();
        assert!((wx + 3.0).abs() < 1e-3 && (wz - 12.0).abs() < 1e-3);
        let straight = view.straight(12.0).project(-3.0, 0.0, 12.0);
        assert!((straight.0 - x).abs() < 1e-5);
        assert!(view.ground(0.6, 0.3).is_none());
    }
}
