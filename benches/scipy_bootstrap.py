"""The other side of against_scipy.rs: scipy.stats.bootstrap, timed inside this process, one request per line.

A request is JSON: values, statistic, method, resamples, batch, vectorized, seed. The answer is JSON: seconds and the interval.
"""

import json
import sys
import time

import numpy as np
import scipy
from scipy.stats import bootstrap

STATISTICS = {"mean": np.mean, "median": np.median}
print(json.dumps({"scipy": scipy.__version__, "numpy": np.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    values = np.array(request["values"])
    statistic = STATISTICS[request["statistic"]]
    # Without an axis parameter scipy calls the statistic once per resample.
    function = statistic if request["vectorized"] else lambda x: statistic(x)
    generator = np.random.default_rng(request["seed"])
    start = time.perf_counter()
    result = bootstrap(
        (values,),
        function,
        n_resamples=request["resamples"],
        batch=request["batch"],
        vectorized=request["vectorized"],
        method=request["method"],
        rng=generator,
    )
    seconds = time.perf_counter() - start
    interval = result.confidence_interval
    print(json.dumps({"seconds": seconds, "low": float(interval.low), "high": float(interval.high)}), flush=True)
