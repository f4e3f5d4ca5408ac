"""The library that draws charts, as one script to be put into a page."""

import logging
from importlib.metadata import version

from smi_hf.environment import cache_folder
from smi_hf.files import replaced_atomically

logger = logging.getLogger(__name__)


def vega_bundle() -> str:
    """Vega, Vega-Lite and vega-embed, which is then `window.vegaEmbed`, as one script; about 0.9 MB.

    It takes seconds to put together, so that it is kept in the cache, where that can be written.
    """
    path = cache_folder() / "javascript" / f"vega-{version('vl-convert-python')}.js"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        logger.debug("%s is made", path)
    import vl_convert
    from altair import SCHEMA_VERSION

    # As altair writes versions: v6.4.1 of Vega-Lite is 6.4 here.
    version_of_charts = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    script = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;", vl_version=version_of_charts)
    # Inside a page, the first of these would end the script.
    script = script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path) as temporary:
            temporary.write_text(script, encoding="utf-8")
    except OSError as error:
        logger.debug("%s cannot be kept: %s", path, error)
    return script
