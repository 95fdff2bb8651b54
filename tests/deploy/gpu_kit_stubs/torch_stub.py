"""What the kit asks of torch, as if there were a GPU."""
import types

__version__ = "2.11.0+cu130"
cuda = types.SimpleNamespace(is_available=lambda: True, get_device_name=lambda _: "NVIDIA H100 80GB HBM3",
                             get_device_properties=lambda _: types.SimpleNamespace(total_memory=80 << 30))
