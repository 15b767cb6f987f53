"""How caches are copied: a part of ``layers.Ops`` that only the graph ``reorder`` has."""

from __future__ import annotations

from collections.abc import Sequence

from max.graph import BufferValue, TensorValue, ops


class SlotOps:
    """What one kind of device does for it; here a CPU."""

    def copy_slots(
        self,
        targets: Sequence[BufferValue],
        sources: Sequence[TensorValue],
        row_of: TensorValue,
        n_slots: TensorValue,
    ) -> None:
        """Fill caches, each (rows, H, capacity, hd), with rows of others; only the slots in use are copied.

        sources: each (source_rows, H, capacity, hd); row_of: (rows,) int32, the row to read for each; n_slots: (1,)
        int64, on the host.
        """
        for target, source in zip(targets, sources, strict=True):
            ops.inplace_custom("whisper_max.copy_slots", row_of.device, [target, source, row_of, n_slots])
