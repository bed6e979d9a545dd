"""The accuracy of a network that nobody trained here: published, or estimated between published networks."""

from mnfpn_cli.accuracy.estimate import estimated_score
from mnfpn_cli.accuracy.published import published_scores
from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings


def accuracy_of(settings: NetworkSettings, size: Size) -> ScoreRecord | None:
    """Return the published score of a network at a size of images, or else an estimate with its error.

    It is of the network in float32, as its makers trained it. It is None where nothing was published of such a network
    (`estimated_score`), and for images that are not square.

    Raises:
        SettingsError: where a layer would have no channels, or too many.
    """
    if size.height != size.width:
        return None
    published = {one.side: one.score for one in published_scores(settings)}
    return published.get(size.height) or estimated_score(settings, size.height)
