//! A ledger that cannot be trusted begins anew: under another incarnation, which votes once a record names it.

use tasuki_schemas::id::Incarnation;

use crate::io::Output;
use crate::node::Node;

impl Node {
    /// A coordinator heard this ledger go back, or from two nodes. Meant for another incarnation, it is old news.
    pub(crate) fn disown(&mut self, incarnation: Incarnation, reason: String) {
        if incarnation == self.memory.incarnation && self.disowned.is_none() {
            self.disowned = Some(reason);
            self.outputs.push(Output::Draw);
        }
    }

    /// What was promised and accepted is kept: it may be too little, and is never too much.
    pub(crate) fn begin_anew(&mut self, incarnation: Incarnation) {
        if let Some(reason) = self.disowned.take() {
            (self.memory.incarnation, self.memory.anew) = (incarnation, Some(reason));
            self.dirty = true;
            self.persist();
        }
    }
}
