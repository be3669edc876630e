"""A compiled Keras model and arrays."""

import numpy

import keras

model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")
x, y = numpy.zeros((40, 4)), numpy.zeros((40, 1))
