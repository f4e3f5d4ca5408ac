"""Static quantization through Optimum, calibrated on kept patches: calibration sets and `backends/`."""
