//! What the clocks of the places show: none of them is right.

use tasuki_schemas::moment::Moment;

use super::net::Place;
use super::world::World;

impl World {
    /// What the clock of a place shows.
    pub(crate) fn moment(&self, place: Place) -> Moment {
        Moment::from_nanos((self.now + 1) * self.clocks[place] / 1000)
    }

    /// When the clock of a place will show that.
    pub(crate) fn at(&self, place: Place, moment: Moment) -> u64 {
        (moment.nanos() * 1000).div_ceil(self.clocks[place])
    }
}
