"""The packages that doctor tests speak of: as few as tell the story, with the pins that really clash (gunicorn, flask, Python)."""

from __future__ import annotations

from tests.fakes.resolver import Package

SERVER = "azureml-inference-server-http"

SHELF = (
    Package(name=SERVER, version="1.5.1", needs=("flask<3.2,>=3.1.0", "gunicorn>=23.0.0"), python=">=3.9"),
    Package(name=SERVER, version="1.4.1", needs=("flask<3.2,>=3.0", "gunicorn>=23.0.0"), python=">=3.9"),
    Package(name=SERVER, version="1.3.4", needs=("flask<3",)),
    Package(name=SERVER, version="1.2.2", needs=("flask<=2.3.2", "gunicorn<=22.0.0")),
    Package(name=SERVER, version="0.7.7", needs=("flask<3",)),
    Package(name="azureml-ai-monitoring", version="1.0.0", needs=("pandas",)),
    Package(name="flask", version="3.1.3", python=">=3.9"),
    Package(name="flask", version="3.1.0", python=">=3.9"),
    Package(name="flask", version="3.0.3"),
    Package(name="flask", version="2.3.2"),
    Package(name="flask", version="2.2.5"),
    Package(name="gunicorn", version="27.0.1", python=">=3.10"),
    Package(name="gunicorn", version="23.0.0"),
    Package(name="gunicorn", version="20.1.0"),
    Package(name="mlflow", version="3.15.0", needs=("gunicorn<28",), python=">=3.10"),
    Package(name="mlflow", version="2.22.0", needs=("gunicorn<24",), python=">=3.9"),
    Package(name="mlflow", version="2.16.0", needs=("gunicorn<24",)),
    Package(name="mlflow", version="2.9.2", needs=("gunicorn<22",)),
    Package(name="mlflow", version="1.30.0", needs=("gunicorn<21",)),
    Package(name="scikit-learn", version="1.9.1", python=">=3.11"),
    Package(name="scikit-learn", version="1.5.2", python=">=3.9"),
    Package(name="scikit-learn", version="1.0.2"),
    Package(name="scikit-learn", version="0.22.0", has_wheel=False),
    Package(name="pandas", version="2.2.3", needs=("numpy>=1.23.2",)),
    Package(name="pandas", version="2.0.3", needs=("numpy>=1.21.0",)),
    Package(name="numpy", version="2.3.0", python=">=3.11"),
    Package(name="numpy", version="1.26.4"),
    Package(name="numpy", version="1.23.2"),
    Package(name="numpy", version="1.21.0"),
    Package(name="torch", version="2.3.0"),
    Package(name="homegrown", version="1.0", has_wheel=False),
)
