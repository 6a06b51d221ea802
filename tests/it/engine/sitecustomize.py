# Stands in for what vLLM imports and does not need to read its command line: torch, kernels, models. Python runs this file before
# any other. What is asked, and answers, is vLLM's own source as its packages ship it; pydantic, regex and msgspec are real.
import abc
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types
import typing

# Of vLLM itself: compiled parts, and kernels that are registered with torch when they are imported.
KERNELS = ("vllm._C", "vllm.ir", "vllm.vllm_flash_attn")
# Being there would mean another device.
ABSENT = {"libtpu", "tpu_inference", "tpu_commons", "amdsmi", "habana_frameworks"}


def anything_is_valid(cls, source, handler):
    from pydantic_core import core_schema

    return core_schema.any_schema()


class Anything(abc.ABCMeta):
    """A class that has every attribute, takes every argument, and decorates by doing nothing."""

    def __getattr__(cls, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        made = thing(name)
        setattr(cls, name, made)
        return made

    def __call__(cls, *given, **named):
        is_decorated = len(given) == 1 and not named and callable(given[0]) and not isinstance(given[0], Anything)
        return given[0] if is_decorated else cls

    def __or__(cls, other):
        return typing.Union[cls, other]

    def __ror__(cls, other):
        return typing.Union[other, cls]

    def __add__(cls, other):
        return other

    def __getitem__(cls, key):
        return cls

    def __iter__(cls):
        return iter(())

    def __enter__(cls):
        return cls

    def __exit__(cls, *how):
        return False

    def __int__(cls):
        return 0

    def __lt__(cls, other):
        return False

    def __ge__(cls, other):
        return True

    __radd__ = __sub__ = __mul__ = __rmul__ = __truediv__ = __floordiv__ = __and__ = __add__
    __bool__ = __gt__ = __exit__
    __len__ = __int__
    __le__ = __ge__

    def __mro_entries__(cls, bases):
        return ()


def thing(name, module=None):
    fields = {"__get_pydantic_core_schema__": classmethod(anything_is_valid)}
    return Anything(name, (), fields | ({"__module__": module} if module else {}))


class Module(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        made = thing(name, self.__name__)
        setattr(self, name, made)
        return made


class Stands(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def create_module(self, spec):
        return Module(spec.name)

    def exec_module(self, module):
        if module.__name__ == "torch":
            module.__version__ = "2.10.0"
            module.iinfo = lambda kind: types.SimpleNamespace(min=-(1 << 63), max=(1 << 63) - 1)


class ForKernels(Stands):
    def find_spec(self, name, path, target=None):
        if any(name == kernel or name.startswith(f"{kernel}.") for kernel in KERNELS):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)


class ForWhatIsMissing(Stands):
    def find_spec(self, name, path, target=None):
        parent = name.rpartition(".")[0]
        if parent:
            stands = isinstance(sys.modules.get(parent), Module)
        else:
            stands = name not in sys.stdlib_module_names and not name.startswith("_") and name not in ABSENT and name != "vllm"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if stands else None


known = importlib.metadata.version


def version(name):
    try:
        return known(name)
    except importlib.metadata.PackageNotFoundError:
        if name.startswith("vllm"):
            raise
        return "99.0"


importlib.metadata.version = version
sys.meta_path.insert(0, ForKernels())
sys.meta_path.append(ForWhatIsMissing())
