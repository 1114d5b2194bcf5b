"""How Hydra reads the user's `./conf`: as it reads any folder, and files with a byte order mark, too.

Editors on Windows begin a file with such a mark. Hydra would then miss the line `# @package _global_`.
"""

import os

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf

SCHEME = "onsager"


class OwnFiles(FileConfigSource):
    """A folder of config files that may begin with a byte order mark."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        if not os.path.exists(path):
            raise ConfigLoadError(f"Config not found : {path}")
        with open(path, encoding="utf-8-sig") as file:
            header = self._get_header_dict(file.read(512))
            file.seek(0)
            config = OmegaConf.load(file)
        return ConfigResult(config=config, path=f"{SCHEME}://{self.path}", provider=self.provider, header=header)


def register() -> None:
    """Make the scheme known to Hydra. Calling this again changes nothing."""
    Plugins.instance().register(OwnFiles)
