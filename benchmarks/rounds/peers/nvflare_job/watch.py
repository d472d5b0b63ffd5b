"""A component of the server that marks when a round is aggregated; it does nothing else."""

from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from benchmarks.rounds.marks import mark


class Watch(FLComponent):
    """Marks "published" with rounds from 1."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Called for every event of the job."""
        if event_type == AppEventType.AFTER_AGGREGATION:
            mark("published", round=int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND)) + 1)
